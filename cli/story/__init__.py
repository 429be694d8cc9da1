"""The files that `aq demo` puts into the reader's folder: a feed of real flights and a pipeline on them."""
