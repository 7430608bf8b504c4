"""The threat model, runnable: every adversary of README.md that is worth a program, against FedSpaLLM and against this.

`python -m threat_model` says which attacks work where, in a checkout.
"""
