"""
The county's registry: areas, households, the people of each, and what is known of them.

Owns: areas with their flags and services, households with status and members in time, people with
their sealed names and numbers, facts and disputes, consents, payee accounts, enterprises, linkage
contracts, mutual-aid societies, the library of projects, a national system's lists held against
ours.
Hears: nobody.
Says: household_registered, household_changed, household_delisted, household_merged,
household_unmerged, area_flag_changed, enterprise_registered, linkage_contract_signed,
linkage_contract_ended, consent_given, consent_withdrawn, payee_account_changed, fact_recorded,
dispute_opened, dispute_answered.
"""
