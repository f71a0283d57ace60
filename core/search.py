"""Search attributes of job workflows, all of type Keyword."""

PROJECT = "PenstockProject"
JOB = "PenstockJob"
STATE = "PenstockState"
TYPE = "PenstockType"
CLUSTER = "PenstockCluster"
ATTRIBUTES = (PROJECT, JOB, STATE, TYPE, CLUSTER)
