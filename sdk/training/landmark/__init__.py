"""Training recipe of the face detector and five-point landmark network."""
