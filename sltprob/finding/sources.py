"""Where the theory on the pages of the finding comes from."""

__all__ = ["SOURCES"]

SOURCES = (
    "Watanabe, S. (2009). Algebraic Geometry and Statistical Learning Theory. Cambridge.",
    "Aoyagi, M. (2009). Log canonical threshold of Vandermonde matrix type singularities and "
    "generalization error of a three-layered neural network in Bayesian estimation. International "
    "Journal of Pure and Applied Mathematics 52, 177-204.",
    "Hille, E. (1940). Contributions to the theory of Hermitian series II. Transactions of the "
    "AMS 47, 80-94.",
    "Neal, R. M. (1996). Bayesian Learning for Neural Networks. Springer.",
    "Lartillot, N. and Philippe, H. (2006). Computing Bayes factors using thermodynamic "
    "integration. Systematic Biology 55, 195-207.",
)
