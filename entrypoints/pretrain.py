"""`mats-sql pretrain`, as a script."""

from mats_sql.cli import pretrain

if __name__ == "__main__":
    pretrain()
