"""Official file formats of public datasets: one module each, streaming, with the evidence for every field it relies on."""
