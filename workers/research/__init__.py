"""Datasets for research: de-identified, verified, published."""
