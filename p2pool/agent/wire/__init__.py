"""Between the network and the loop: opens and judges what arrives, seals what leaves."""
