/* Step: what an __aenter__() or __aexit__() in C returns; see steps.c.  */

#ifndef Py_ASYNCIO_STEPS_H
#define Py_ASYNCIO_STEPS_H

/* What is done when the step is awaited: returns a strong reference, or NULL
   with an exception set.  exc is NULL for None.  */
typedef PyObject *(*step_function)(PyObject *owner, PyObject *exc);

/* The step has references to both, until it has run.  */
PyObject *asyncio_step_new(PyObject *module, step_function,
                           PyObject *owner, PyObject *exc);

/* Let the __aenter__() and __aexit__() of a new type, which return steps, be
   known as coroutine functions.  */
int asyncio_mark_coroutines(PyObject *module, PyTypeObject *type);

#endif  /* !Py_ASYNCIO_STEPS_H */
