"""The scheduler's parts: each decides about one thing, and each is pure.

A decider takes the fleet, what has happened and `now`, changes the fleet and returns commands. From the
bottom up: `shares` (of keys), `ends` and `progress` (of jobs and workers), `dispatch`, `stops`, `room` and
`starts`, `advance` (jobs to workers, workers for jobs), `removals`, `swaps` and `idle`, then what events lead
to: `memory`, `jobs`, `sessions`, `outputs`, `workers`, `models`, `relief` (where memory runs out). None
imports one that stands after it.
"""
