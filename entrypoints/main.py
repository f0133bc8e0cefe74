"""`mats-sql main`, as a script."""

from mats_sql.cli import main

if __name__ == "__main__":
    main()
