"""From records to sentences: what the paper claims, what these studies find, and how sure that is."""
