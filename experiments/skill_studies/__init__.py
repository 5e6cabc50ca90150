"""What the studies of skill neurons share: prompts, jobs, probes, pages."""
