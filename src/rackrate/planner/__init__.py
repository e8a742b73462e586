"""Which deployments fit, what each sustains within an SLO, what that costs, ranked: before a dollar is spent."""
