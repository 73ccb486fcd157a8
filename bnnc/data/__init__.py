"""Images to run and check networks on: data sets read from files the user has, and single pictures."""
