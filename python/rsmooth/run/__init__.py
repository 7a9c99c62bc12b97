"""Certification from data set to figure: data sets, models, training, and the demo that joins them."""
