/* functions.h: the elementary functions, as ops are defined by them;
 * bit-identical on every machine (math.inc says how). ir.h includes it. */
#ifndef TREENAIL_IR_FUNCTIONS_H
#define TREENAIL_IR_FUNCTIONS_H

double ir_exp(double x);
double ir_log1p(double x);
double ir_log(double x);
double ir_expm1(double x);
double ir_tanh(double x);
double ir_pow(double x, double y);
double ir_sigmoid(double x);
double ir_softplus(double x); /* log(1 + e^x) */
double ir_erf(double x);
double ir_sin(double x);
double ir_cos(double x);
double ir_tan(double x);
double ir_atan(double x);
float ir_expf(float x);
float ir_tanhf(float x);
float ir_sigmoidf(float x);
float ir_softplusf(float x);
float ir_erff(float x);
float ir_sinf(float x);
float ir_cosf(float x);
float ir_tanf(float x);
float ir_atanf(float x);
/* Those of the steps fast_exp and so on. */
float ir_fast_expf(float x);
float ir_fast_expm1f(float x);
float ir_fast_logf(float x);
float ir_fast_powf(float x, float y);

#endif
