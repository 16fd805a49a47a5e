"""SPCT: cold start, rejective fine-tuning, rule-based RL and the meta RM, one recipe for a nano model and for a 27B one."""
