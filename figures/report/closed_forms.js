// The closed forms of theory/predict.py, the same formulas under the same names; a test compares them in a browser.
const theory = {
  signalNorm: (c) => c.signal_strength * (c.patches - 1) * c.sigma_p * (c.d / c.n) ** 0.25,
  steps: (c) => c.pretrain_epochs * Math.ceil(c.n / c.batch_size),
  signalDrive: (c) => ((c.eta_scale / c.d) * theory.steps(c) * theory.signalNorm(c) ** 2) / (4 * c.m),
  noiseDrive: (c, active) =>
    ((c.eta_scale / c.d) * theory.steps(c) * active * (c.patches - 1) ** 2 * c.sigma_p ** 2 * c.d) / (c.n * c.m),
  // The f with f + e^f = 1 + drive, by Newton's method.
  saturate: (drive) => {
    let f = drive > 1 ? Math.log1p(drive) : drive / 2;
    for (let k = 0; k < 50; k++) f -= (f + Math.exp(f) - 1 - drive) / (1 + Math.exp(f));
    return f;
  },
  closedForms: (c, active) => {
    const [Y, X] = [theory.signalDrive(c), theory.noiseDrive(c, active)];
    const f = theory.saturate(2 * Y + X);
    const kappa = Y + X > 0 ? (f * 2 * Y) / (2 * Y + X) : 0;
    return { Y, X, kappa_sam: theory.saturate(2 * Y), kappa_sgd: kappa, zeta_sgd: f - kappa };
  },
};
window.theory = theory;
