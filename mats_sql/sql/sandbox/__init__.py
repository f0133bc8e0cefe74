"""The processes that run untrusted SQL, standard library only: they start in milliseconds and inherit nothing.

``workers`` is the parent's side, ``worker`` the program, ``protocol`` what they say to each other, ``confinement`` the
bounds, ``run`` one SQL within them, ``nearest`` what it says of literals that no row has.
"""
