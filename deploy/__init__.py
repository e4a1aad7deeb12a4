"""How Liandong runs: on one machine (`local`), in containers, and what its servers are told."""
