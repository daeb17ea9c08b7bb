/* _TaskOwnerBase; see owners.c.  */

#ifndef Py_ASYNCIO_OWNERS_H
#define Py_ASYNCIO_OWNERS_H

#include "scopes.h"

/* Part of the module's state.  Interned names, all strong.  */
typedef struct {
    PyObject *NEW;
    PyObject *OPEN;
    PyObject *PLAIN_CREATE;
    PyObject *add_done_callback;
    PyObject *adopt;
    PyObject *asyncio_owner;
    PyObject *changed;
    PyObject *create_carefully;
    PyObject *create_task;
    PyObject *debug;
    PyObject *inner;
    PyObject *name;
    PyObject *on_task_done;
    PyObject *release_late;
    PyObject *task_ended;
    PyObject *task_factory;
} OwnerState;

int asyncio_owners_init(PyObject *module, OwnerState *state);
int asyncio_owners_visit(OwnerState *state, visitproc visit, void *arg);
void asyncio_owners_clear(OwnerState *state);

/* In _asynciomodule.c.  */
OwnerState *asyncio_owner_state(PyObject *module);
/* Set _asyncio_owner of a plain Task in C; return 0 for anything else.  */
int asyncio_task_set_owner(PyObject *module, PyObject *task, PyObject *owner);
/* How a plain Task in C has ended.  */
typedef enum {
    TASK_RETURNED,
    TASK_CANCELLED,
    TASK_OTHERWISE,     /* or it is something else */
} task_end;
task_end asyncio_task_end(PyObject *module, PyObject *task);

#endif  /* !Py_ASYNCIO_OWNERS_H */
