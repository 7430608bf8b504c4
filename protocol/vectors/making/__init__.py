"""How vectors are made, a family a module, with the package itself."""
