"""RecBole model subclasses: one file per paper or baseline family."""
