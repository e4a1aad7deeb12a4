"""
The county's registry: areas, households and the people of each household.

Owns: areas, households, people with their sealed names and numbers.
Hears: nobody.
Says: household_registered.
"""
