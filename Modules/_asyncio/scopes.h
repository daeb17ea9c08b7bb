/* What the types of the cancel scopes share: their part of the module's
   state, and what they need of the module.  */

#ifndef Py_ASYNCIO_SCOPES_H
#define Py_ASYNCIO_SCOPES_H

#include "canceller.h"
#include "nodes.h"
#include "deadlines.h"
#include "steps.h"

/* Part of the module's state.  All strong.  */
typedef struct {
    PyTypeObject *node_type;
    PyTypeObject *deadlines_type;
    PyTypeObject *scope_type;
    PyTypeObject *step_type;
    PyObject *spare_step;   /* a dead Step, or NULL */
    /* Modules in Python; NULL before they are used.  */
    PyObject *cancellation;
    PyObject *scopes;
    /* Interned names.  */
    PyObject *call_at;
    PyObject *cancel;
    PyObject *deadline;
    PyObject *deliver;
    PyObject *enter;
    PyObject *enter_block;
    PyObject *expire;
    PyObject *exit_block;
    PyObject *leave;
    PyObject *loop;
    PyObject *node;
    PyObject *pop;
    PyObject *push;
    PyObject *scope_deadlines;
    PyObject *shield;
    PyObject *time;
    PyObject *timeout;
} ScopeState;

extern PyType_Spec asyncio_node_spec;
extern PyType_Spec asyncio_deadlines_spec;
extern PyType_Spec asyncio_step_spec;

int asyncio_scopes_init(PyObject *module, ScopeState *state);
int asyncio_scopes_visit(ScopeState *state, visitproc visit, void *arg);
void asyncio_scopes_clear(ScopeState *state);
void asyncio_steps_clear(ScopeState *state);

/* NULL stands for None in a field.  */
static inline int
is_none(PyObject *field)
{
    return field == NULL || Py_IsNone(field);
}

static inline PyObject *
none_or_null(int res)
{
    return res < 0 ? NULL : Py_NewRef(Py_None);
}

/* Drop the result of a call.  */
static inline int
call_and_forget(PyObject *res)
{
    Py_XDECREF(res);
    return res == NULL ? -1 : 0;
}

/* Where more is to be done after an error: what is kept is handled meanwhile,
   as in a finally clause, and so the context of what is raised then.  It
   begins as {0}, and ends with raise_kept().  */
typedef struct {
    _PyErr_StackItem handled;
    int is_kept;
} KeptError;

/* Keep the exception of what has failed.  */
static inline void
keep_error(KeptError *kept, int res)
{
    if (res < 0) {
        PyObject *exc = PyErr_GetRaisedException();
        if (!kept->is_kept) {
            PyThreadState *tstate = PyThreadState_Get();
            kept->is_kept = 1;
            kept->handled.previous_item = tstate->exc_info;
            tstate->exc_info = &kept->handled;
        }
        Py_XSETREF(kept->handled.exc_value, exc);
    }
}

/* Return -1 if an exception was kept, which is raised, or 0.  */
static inline int
raise_kept(KeptError *kept)
{
    if (!kept->is_kept) {
        return 0;
    }
    PyThreadState_Get()->exc_info = kept->handled.previous_item;
    PyErr_SetRaisedException(kept->handled.exc_value);
    return -1;
}

PyTypeObject *asyncio_add_type(PyObject *module, PyType_Spec *spec);
/* Detach a timer, which can be NULL, from its field, and cancel it.  */
int asyncio_cancel_timer(PyObject **timer, PyObject *cancel);

/* Return an attribute of a module in Python, as a strong reference.  The
   module is imported once: there is no import when the interpreter ends.  */
PyObject *asyncio_import(PyObject **module, const char *its_name,
                         const char *name);
int asyncio_loop_time(ScopeState *, PyObject *loop, double *time);

/* In _asynciomodule.c.  */
PyObject *asyncio_module_of(PyObject *self);   /* borrowed */
ScopeState *asyncio_scope_state(PyObject *module);
CancellerState *asyncio_canceller_state_of(PyObject *module);
int asyncio_is_c_canceller(PyObject *module, PyObject *canceller);
/* Set *task to the current one, a strong reference, or to NULL if there is
   none, also where no loop runs.  */
int asyncio_find_current_task(PyObject *module, PyObject **task);
/* The canceller of a Task in C, borrowed, and the baseline of a guard that is
   entered now; NULL without an exception for another task, or without one.  */
CancellerObject *asyncio_task_canceller(PyObject *module, PyObject *task,
                                        Py_ssize_t *baseline);

int asyncio_is_c_task(PyObject *module, PyObject *task);
/* Ask if a task is one in C that has no canceller, and nothing to tell one.  */
int asyncio_is_new_task(PyObject *module, PyObject *task);
/* Of a Task in C; NULL for none.  */
void asyncio_task_set_canceller(PyObject *task, PyObject *canceller);
/* By the address of a coroutine: who gets its task; borrowed.  */
PyObject *asyncio_pending_owners(PyObject *module);

/* The plain Future in C that a Task in C is parked on, borrowed, or NULL.  */
PyObject *asyncio_plain_waiter(PyObject *module, PyObject *task);
/* Return 1 if the plain future is cancelled by this, 0 if not, or -1.  */
int asyncio_future_cancel(PyObject *module, PyObject *future, PyObject *msg);

#endif  /* !Py_ASYNCIO_SCOPES_H */
