/* Timeout, timeout() and timeout_at(); see timeouts.c.  */

#ifndef Py_ASYNCIO_TIMEOUTS_H
#define Py_ASYNCIO_TIMEOUTS_H

#include "scopes.h"

/* Part of the module's state.  All strong.  */
typedef struct {
    PyTypeObject *timeout_type;
    PyObject *timeouts;     /* timeouts.py; NULL before it is used */
    /* Interned names.  */
    PyObject *call_at;
    PyObject *call_soon;
    PyObject *cancel;
    PyObject *on_timeout;
    PyObject *time;
} TimeoutState;

int asyncio_timeouts_init(PyObject *module, TimeoutState *state);
int asyncio_timeouts_visit(TimeoutState *state, visitproc visit, void *arg);
void asyncio_timeouts_clear(TimeoutState *state);

/* In _asynciomodule.c.  */
TimeoutState *asyncio_timeouts_state(PyObject *module);
PyObject *asyncio_running_loop(PyObject *module);
PyObject *asyncio_current_task(PyObject *module);

#endif  /* !Py_ASYNCIO_TIMEOUTS_H */
