"""What an edit costs, beside a forward pass, the plain way to do the same, and what the machine could do at best."""
