"""Prints the polynomial coefficients in real.rs: near-minimax (Chebyshev) fits at 60 digits, highest power first."""

from mpmath import chebyfit, cos, ln, mp, mpf, pi, sin, sqrt

mp.dps = 60
TINY = mpf(10) ** -40

FITS = {
    "LN f32": (
        lambda t: (ln(1 + t) - t) / t**2 if abs(t) > TINY else -mpf(1) / 2,
        (sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1),
        9,
    ),
    "SIN f32": (lambda z: sin(pi / 4 * sqrt(z)) / sqrt(z) if z > TINY else pi / 4, (0, 1), 4),
    "COS f32": (lambda z: cos(pi / 4 * sqrt(abs(z))), (0, 1), 5),
    "LN f64": (
        lambda z: (2 * mp.atanh(sqrt(z)) / sqrt(z) - 2) / z if z > TINY else mpf(2) / 3,
        (0, ((sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1)) ** 2),
        8,
    ),
    "SIN f64": (lambda z: sin(pi / 4 * sqrt(z)) / sqrt(z) if z > TINY else pi / 4, (0, 1), 7),
    "COS f64": (lambda z: cos(pi / 4 * sqrt(abs(z))), (0, 1), 8),
}

for name, (function, interval, terms) in FITS.items():
    coefficients, error = chebyfit(function, interval, terms, error=True)
    digits = 9 if "f32" in name else 17
    print(f"{name}: error {mp.nstr(error, 3)}")
    print("   ", ", ".join(mp.nstr(c, digits) for c in coefficients))
