"""What the Airy and the Pearcey model are limits of: two units near a change of shape.

lambda-hat of w tanh(w x) that learns y x, with y sqrt(beta) held, and of relu(w - x) under a
penalty t w, with t beta^(2/3) held, beside the two models. Seconds.
"""

from sltprob.finding.germs import airy_limit, entering_unit, pearcey_limit, tied_unit

BETAS = (1e2, 1e3, 1e4, 1e6)


def main() -> None:
    heading = "".join(f"{f'1e{len(str(int(beta))) - 1}':<9}" for beta in BETAS)
    print(f"w tanh(w x) learns y x\n{'y √β':<8}{heading}Pearcey")
    for scaled in (-2.0, -0.5, 0.0, 0.5, 1.0, 2.0):
        values = "".join(f"{tied_unit(beta, scaled * beta**-0.5):<9.4f}" for beta in BETAS)
        print(f"{scaled:<8g}{values}{pearcey_limit(scaled):.4f}")
    print(f"relu(w - x) learns zero under t w\n{'t β^⅔':<8}{heading}Airy")
    for scaled in (0.0, 0.3, 1.0, 3.0):
        values = "".join(
            f"{entering_unit(beta, scaled * beta ** (-2 / 3)):<9.4f}" for beta in BETAS
        )
        print(f"{scaled:<8g}{values}{airy_limit(scaled):.4f}")


if __name__ == "__main__":
    main()
