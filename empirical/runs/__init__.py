"""One run, from its config to its record; read the files in this order.

run            prepare the data, train the models, measure them, write the record
resources      what the runs of a process share: store, device, leases, loaded data
experiment     the data of a run, and its original, retrained and unlearned model
stages         one trained model: read from the store, or trained and stored
unlearning     which method and rule go together, and the stage that unlearns
evaluations    each metric of a run, measured once
subset_models  memorization scores; imports: files that a user brings
"""
