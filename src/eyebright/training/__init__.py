"""Floor 3: the loop, what moves it, and the folder that it fills."""
