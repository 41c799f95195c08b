"""The inverse of the normal distribution's cumulative function, as scipy has
it: the rational approximations of Cephes' ndtri (Moshier, Methods and Programs
for Mathematical Functions, 1989), in its order of operations."""

TAIL = 0.13533528323661269189  # exp(-2): below, by the logarithm
ROOT = 2.50662827463100050242  # sqrt(2 pi)

# Highest power first; a denominator's first coefficient is 1.
MIDDLE = ([-5.99633501014107895267e1, 9.80010754185999661536e1,
           -5.66762857469070293439e1, 1.39312609387279679503e1,
           -1.23916583867381258016],
          [1.0, 1.95448858338141759834, 4.67627912898881538453,
           8.63602421390890590575e1, -2.25462687854119370527e2,
           2.00260212380060660359e2, -8.20372256168333339912e1,
           1.59056225126211695515e1, -1.18331621121330003142])
NEAR = ([4.05544892305962419923, 3.15251094599893866154e1,
         5.71628192246421288162e1, 4.40805073893200834700e1,
         1.46849561928858024014e1, 2.18663306850790267539,
         -1.40256079171354495875e-1, -3.50424626827848203418e-2,
         -8.57456785154685413611e-4],
        [1.0, 1.57799883256466749731e1, 4.53907635128879210584e1,
         4.13172038254672030440e1, 1.50425385692907503408e1,
         2.50464946208309415979, -1.42182922854787788574e-1,
         -3.80806407691578277194e-2, -9.33259480895457427372e-4])
FAR = ([3.23774891776946035970, 6.91522889068984211695,
        3.93881025292474443415, 1.33303460815807542389,
        2.01485389549179081538e-1, 1.23716634817820021358e-2,
        3.01581553508235416007e-4, 2.65806974686737550832e-6,
        6.23974539184983293730e-9],
       [1.0, 6.02427039364742014255, 3.67983563856160859403,
        1.37702099489081330271, 2.16236993594496635890e-1,
        1.34204006088543189037e-2, 3.28014464682127739104e-4,
        2.89247864745380683936e-6, 6.79019408009981274425e-9])


def polynomial(coefficients):
    """Of x0, by Horner's rule."""
    words = [coefficients[0]]
    for c in coefficients[1:]:
        words += ["x0", "mul", c, "add"]
    return words


def quotient(coefficients):
    return [*polynomial(coefficients[0]), *polynomial(coefficients[1]), "div"]


def normal_quantile(module, p):
    """p in (0, 1), or a NaN."""
    # Cephes works on the lower half; what is past the middle is mirrored.
    y = module.map(["x0", 1 - TAIL, "gt", "1", "x0", "sub", "x0", "where"], p)
    centred = module.map("x0 0.5 sub", y)
    square = module.map("x0 x0 mul", centred)
    ratio = module.map(["x0", *quotient(MIDDLE), "mul"], square)
    middle = module.map(["x0", "x0", "x1", "mul", "add", ROOT, "mul"],
                        centred, ratio)
    x = module.map("x0 log -2 mul sqrt", y)
    z = module.map("1 x0 div", x)
    near = module.map(["x0", *polynomial(NEAR[0]), "mul",
                       *polynomial(NEAR[1]), "div"], z)
    far = module.map(["x0", *polynomial(FAR[0]), "mul",
                      *polynomial(FAR[1]), "div"], z)
    tail = module.map("x0 x0 log x0 div sub x0 8 lt x1 x2 where sub",
                      x, near, far)
    signed = module.map(["x1", 1 - TAIL, "gt", "x0", "x0", "neg", "where"],
                        tail, p)
    return module.map(["x0", TAIL, "gt", "x1", "x2", "where"], y, middle,
                      signed)
