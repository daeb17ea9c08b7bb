/* Timeout, timeout() and timeout_at(); see timeouts.c.  */

#ifndef Py_ASYNCIO_TIMEOUTS_H
#define Py_ASYNCIO_TIMEOUTS_H

#include "canceller.h"

/* Part of the module's state.  All strong.  */
typedef struct {
    PyTypeObject *timeout_type;
    PyTypeObject *step_type;
    /* Interned names.  */
    PyObject *ask;
    PyObject *begin_elsewhere;
    PyObject *call_at;
    PyObject *call_soon;
    PyObject *cancel;
    PyObject *end_expired;
    PyObject *leave_elsewhere;
    PyObject *on_timeout;
    PyObject *time;
} TimeoutState;

int asyncio_timeouts_init(PyObject *module, TimeoutState *state);
int asyncio_timeouts_visit(TimeoutState *state, visitproc visit, void *arg);
void asyncio_timeouts_clear(TimeoutState *state);

/* In _asynciomodule.c.  */
TimeoutState *asyncio_timeouts_state(PyObject *module);
CancellerState *asyncio_canceller_state_of(PyObject *module);
PyObject *asyncio_running_loop(PyObject *module);
PyObject *asyncio_current_task(PyObject *module);
/* The canceller of a Task in C, borrowed, and the baseline of a guard that is
   entered now; NULL without an exception for another task, or without one.  */
CancellerObject *asyncio_task_canceller(PyObject *module, PyObject *task,
                                        Py_ssize_t *baseline);

#endif  /* !Py_ASYNCIO_TIMEOUTS_H */
