"""Mean and spread of everything that was sent so far: a servable that remembers."""


class RunningMean:
    """Welford's method: one pass, nothing kept but three numbers, and no loss of digits."""

    def __init__(self):
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0  # sum of the squared distances from the mean

    def add(self, values: list[float], reset: bool = False) -> dict:
        """Takes some more values (after forgetting all before them, with reset) and says what holds now."""
        if reset:
            self.__init__()
        for value in values:
            self.count += 1
            distance = value - self.mean
            self.mean += distance / self.count
            self.squares += distance * (value - self.mean)
        variance = self.squares / self.count if self.count else 0.0
        return {"count": self.count, "mean": self.mean, "std": variance ** 0.5}
