-- A research id does not hold on to its patient. The foreign key locked the row of each patient of a cohort, which writes to it and to
-- the log, while charts are read; and who is deleted need not be taken out of the vault first: a number of nobody tells nothing.
ALTER TABLE vault.surrogate DROP CONSTRAINT surrogate_patient_id_fkey;
