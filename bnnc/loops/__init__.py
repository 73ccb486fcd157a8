"""The «loop» level: functions of loops over words, the machines they are made for, and the way down to them."""
