"""Turn examples and preference pairs into checkpoints that plain transformers and vLLM load.

``sft.train_sft`` drives TRL's SFTTrainer; ``orpo.train_orpo`` drives our own ORPO trainer (MATS.md, section 5), which
computes a pair's shared prompt once. Both drop over-long data instead of truncating it, depend on the seed alone, and
continue from the newest complete checkpoint. docs/training.md defines the loss and its denominators.
"""
