"""What A may be: arrays, sparse matrices and operators, as their products; centred, in units."""
