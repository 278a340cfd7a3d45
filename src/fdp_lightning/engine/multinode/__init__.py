"""A command that torchrun or srun started once per device."""
