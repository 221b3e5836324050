"""What one entity's change means for the others of its run, as pure functions over data.

`facts` is what counts of the rows and `reading` gets it; `dependencies` and `lineages` say what
somebody still waits for, to the store's guards too; `tasks`, `workstreams`, `quarantine`,
`skipping` and `outcome` are the rules (decisions R2, T3, W2, W4 to W7); `cascade` applies them to
one another until nothing follows any more. Nothing here writes: the steps that a cascade proposes
are applied by whoever asked, and what opens work (ready, queued, validating) is left to those who
do that work.
"""
