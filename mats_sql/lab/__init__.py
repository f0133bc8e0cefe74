"""The embedded benchmark: generated BIRD-format databases and questions, and the small base model pretrained for them.

``write_lab`` (generator) writes a benchmark, ``base_model_path`` (base) finds the packaged base model, ``pretrain``
(pretraining) rebuilds it. Nothing here is imported by the agents or the team: to them the lab is one more BIRD folder.
"""
