"""Tables: the measures of all models side by side."""
