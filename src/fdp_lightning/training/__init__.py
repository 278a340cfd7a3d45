"""Training: the LightningModule, its optimizer, and the recorder of curves and held-out predictions."""
