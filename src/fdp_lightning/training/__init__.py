"""Training: the LightningModule, its optimizer, and the recorder of the held-out subject."""
