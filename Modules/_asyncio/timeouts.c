/* Timeout: what Lib/asyncio/timeouts.py has in Python, as far as a block needs
   it that ends in time.

   A Timeout is among the deadlines of the loop, or owns a timer, which calls a
   bound method of it, until the block or the task ends.  */

#ifndef Py_BUILD_CORE_BUILTIN
#  define Py_BUILD_CORE_MODULE 1
#endif

#include "Python.h"
#include "structmember.h"
#include "pycore_modsupport.h"    // _PyArg_CheckPositional()
#include "timeouts.h"

/*[clinic input]
module _asyncio
class _asyncio.Timeout "TimeoutObject *" "clinic_state()->timeout_type"
[clinic start generated code]*/
/*[clinic end generated code: output=da39a3ee5e6b4b0d input=e083d62dfc7a528a]*/

typedef enum {
    CREATED,
    ENTERED,
    EXPIRING,
    EXPIRED,
    EXITED,
} timeout_state;

/* As the values of timeouts._State.  */
static const char *const state_names[] = {
    "created", "active", "expiring", "expired", "finished",
};

typedef struct {
    PyObject_HEAD
    PyObject *when;         /* strong; None is no deadline */
    PyObject *timer;        /* strong; NULL before it is made, and after */
    Deadline queued;
    /* Of a cancellation.Guard; the objects strong, or NULL for None.  */
    PyObject *task;
    PyObject *origin;
    PyObject *request;
    Py_ssize_t baseline;
    char is_known;
    /* The task has suspended in the block, or has no canceller.  */
    char armed;
    timeout_state state;
} TimeoutObject;

static inline PyObject *
module_of(TimeoutObject *self)
{
    return asyncio_module_of((PyObject *)self);
}

/* Call a function of timeouts.py.  */
static PyObject *
call_python(const char *name, PyObject *self, PyObject *arg)
{
    TimeoutState *state = asyncio_timeouts_state(
        module_of((TimeoutObject *)self));
    PyObject *function = asyncio_import(&state->timeouts, "asyncio.timeouts",
                                        name);
    if (function == NULL) {
        return NULL;
    }
    PyObject *res = PyObject_CallFunctionObjArgs(function, self, arg, NULL);
    Py_DECREF(function);
    return res;
}

/* --- The timer --- */

static int
disarm(TimeoutState *state, TimeoutObject *self)
{
    if (asyncio_deadline_disarm(&self->queued) < 0) {
        return -1;
    }
    return asyncio_cancel_timer(&self->timer, state->cancel);
}

static int
make_timer(TimeoutState *state, TimeoutObject *self, PyObject *loop,
           int is_due)
{
    PyObject *callback = PyObject_GetAttr((PyObject *)self,
                                          state->on_timeout);
    if (callback == NULL) {
        return -1;
    }
    PyObject *timer = is_due
        ? PyObject_CallMethodOneArg(loop, state->call_soon, callback)
        : PyObject_CallMethodObjArgs(loop, state->call_at, self->when,
                                     callback, NULL);
    Py_DECREF(callback);
    if (timer == NULL) {
        return -1;
    }
    Py_XSETREF(self->timer, timer);
    return 0;
}

/* The deadline has passed; called by the deadlines of the loop.  */
static int
expire(PyObject *op)
{
    TimeoutObject *self = (TimeoutObject *)op;
    self->state = EXPIRING;
    return call_and_forget(call_python("_ask_in_context", op, NULL));
}

/* Set *when to a time that the deadlines of the loop can have, or to NaN.  */
static int
as_deadline(TimeoutObject *self, double *when)
{
    PyObject *deadline = Py_NewRef(self->when);
    *when = PyFloat_AsDouble(deadline);
    Py_DECREF(deadline);
    if (*when == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)
            && !PyErr_ExceptionMatches(PyExc_ValueError)
            && !PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear();
        *when = Py_NAN;
    }
    return 0;
}

static int
set_later(TimeoutState *state, TimeoutObject *self, PyObject *loop)
{
    if (self->is_known) {
        double when;
        if (as_deadline(self, &when) < 0) {
            return -1;
        }
        if (isfinite(when)) {
            self->queued.owner = (PyObject *)self;
            self->queued.expire = expire;
            return asyncio_deadline_arm(module_of(self), loop, &self->queued,
                                        when);
        }
    }
    return make_timer(state, self, loop, 0);
}

/* Return 1 if the deadline has passed, 0 if not, or -1.  */
static int
has_passed(TimeoutState *state, TimeoutObject *self, PyObject *loop)
{
    PyObject *now = PyObject_CallMethodNoArgs(loop, state->time);
    if (now == NULL) {
        return -1;
    }
    int res;
    PyObject *when = Py_NewRef(self->when);
    if (PyFloat_CheckExact(when) && PyFloat_CheckExact(now)) {
        res = PyFloat_AS_DOUBLE(when) <= PyFloat_AS_DOUBLE(now);
    }
    else {
        res = PyObject_RichCompareBool(when, now, Py_LE);
    }
    Py_DECREF(when);
    Py_DECREF(now);
    return res;
}

/* There is a deadline: arm it, if that is to be done now.  */
static int
set_timer(TimeoutState *state, TimeoutObject *self, PyObject *loop)
{
    int is_due = has_passed(state, self, loop);
    if (is_due < 0) {
        return -1;
    }
    if (is_due) {
        return make_timer(state, self, loop, 1);
    }
    return self->armed ? set_later(state, self, loop) : 0;
}

/* --- The block --- */

static int
leave(TimeoutObject *self)
{
    PyObject *task = self->task;
    self->task = NULL;
    Py_CLEAR(self->origin);
    if (task == NULL || !self->is_known) {
        Py_XDECREF(task);
        return 0;
    }
    PyObject *module = module_of(self);
    Py_ssize_t unused;
    int res = 0;
    CancellerObject *canceller = asyncio_task_canceller(module, task,
                                                        &unused);
    if (canceller != NULL) {
        res = asyncio_canceller_leave(asyncio_canceller_state_of(module),
                                      canceller, (PyObject *)self);
    }
    else {
        res = call_and_forget(call_python("_leave_elsewhere",
                                          (PyObject *)self, task));
    }
    Py_XDECREF(task);
    return res;
}

static int
begin_in_task(TimeoutState *state, TimeoutObject *self, PyObject *task)
{
    PyObject *module = module_of(self);
    Py_ssize_t baseline;
    CancellerObject *canceller = asyncio_task_canceller(module, task,
                                                        &baseline);
    if (canceller != NULL) {
        self->task = Py_NewRef(task);
        self->origin = Py_XNewRef(canceller->node);
        self->baseline = baseline;
        self->is_known = 1;
        return asyncio_canceller_enter(canceller, (PyObject *)self);
    }
    return call_and_forget(call_python("_begin_elsewhere", (PyObject *)self,
                                       task));
}

/* The block cannot be entered: keep the exception, and return -1.  */
static int
leave_again(TimeoutObject *self)
{
    KeptError error = {0};
    keep_error(&error, -1);
    self->state = EXITED;
    keep_error(&error, leave(self));
    return raise_kept(&error);
}

static int
begin(TimeoutObject *self)
{
    PyObject *module = module_of(self);
    TimeoutState *state = asyncio_timeouts_state(module);
    if (self->state != CREATED || self->when == NULL) {
        PyErr_SetString(PyExc_RuntimeError, self->when == NULL
                        ? "Timeout.__init__() has not been called"
                        : "Timeout has already been entered");
        return -1;
    }
    PyObject *task = asyncio_current_task(module);
    if (task == NULL) {
        return -1;
    }
    if (Py_IsNone(task)) {
        Py_DECREF(task);
        PyErr_SetString(PyExc_RuntimeError,
                        "Timeout should be used inside a task");
        return -1;
    }
    self->state = ENTERED;
    int res = begin_in_task(state, self, task);
    Py_DECREF(task);
    if (res < 0) {
        return -1;
    }
    self->armed = !self->is_known;
    if (Py_IsNone(self->when)) {
        return 0;
    }
    PyObject *loop = asyncio_running_loop(module);
    res = loop == NULL ? -1 : set_timer(state, self, loop);
    Py_XDECREF(loop);
    return res < 0 ? leave_again(self) : 0;
}

static int
end(TimeoutObject *self, PyObject *exc)
{
    if (self->state != ENTERED && self->state != EXPIRING) {
        PyErr_Format(PyExc_RuntimeError, "Cannot leave %s Timeout: "
                     "use it in one async with statement",
                     state_names[self->state]);
        return -1;
    }
    TimeoutState *state = asyncio_timeouts_state(module_of(self));
    KeptError error = {0};
    keep_error(&error, disarm(state, self));
    if (self->state != EXPIRING) {
        self->state = EXITED;
        keep_error(&error, leave(self));
    }
    else {
        self->state = EXPIRED;
        keep_error(&error, call_and_forget(call_python(
            "_end_expired", (PyObject *)self, exc == NULL ? Py_None : exc)));
    }
    return raise_kept(&error);
}

static PyObject *
step_in(PyObject *op, PyObject *Py_UNUSED(exc))
{
    return begin((TimeoutObject *)op) < 0 ? NULL : Py_NewRef(op);
}

static PyObject *
step_out(PyObject *op, PyObject *exc)
{
    return end((TimeoutObject *)op, exc) < 0 ? NULL : Py_NewRef(Py_None);
}

/* --- Timeout --- */

#include "clinic/timeouts.c.h"

/*[clinic input]
_asyncio.Timeout.__init__

    when: object

An asynchronous context manager that limits the time of its block.

It is made by timeout() and timeout_at().
[clinic start generated code]*/

static int
_asyncio_Timeout___init___impl(TimeoutObject *self, PyObject *when)
/*[clinic end generated code: output=c6554770265947fe input=a4dba3c171c26d33]*/
{
    if (self->state != CREATED) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Timeout has already been entered");
        return -1;
    }
    Py_XSETREF(self->when, Py_NewRef(when));
    return 0;
}

/*[clinic input]
_asyncio.Timeout.when

Return the deadline on loop.time(), or None.
[clinic start generated code]*/

static PyObject *
_asyncio_Timeout_when_impl(TimeoutObject *self)
/*[clinic end generated code: output=84d12b95e6f31329 input=76641ac30f4e3bb4]*/
{
    return Py_NewRef(self->when == NULL ? Py_None : self->when);
}

/*[clinic input]
_asyncio.Timeout.expired

Return true if the deadline has passed during the block.
[clinic start generated code]*/

static PyObject *
_asyncio_Timeout_expired_impl(TimeoutObject *self)
/*[clinic end generated code: output=b6b3a358a619cf3c input=91199ba50e355647]*/
{
    return PyBool_FromLong(self->state == EXPIRING || self->state == EXPIRED);
}

/*[clinic input]
_asyncio.Timeout.reschedule

    when: object

Move the deadline to *when* on loop.time(); None takes it away.

RuntimeError is raised before the block is entered and after the
deadline or the end of the block.
[clinic start generated code]*/

static PyObject *
_asyncio_Timeout_reschedule_impl(TimeoutObject *self, PyObject *when)
/*[clinic end generated code: output=3ec667b32a7d8812 input=c04625b33d4f6c6a]*/
{
    if (self->state == CREATED) {
        PyErr_SetString(PyExc_RuntimeError, "Timeout has not been entered");
        return NULL;
    }
    if (self->state != ENTERED) {
        PyErr_Format(PyExc_RuntimeError, "Cannot change state of %s Timeout",
                     state_names[self->state]);
        return NULL;
    }
    PyObject *module = module_of(self);
    TimeoutState *state = asyncio_timeouts_state(module);
    Py_XSETREF(self->when, Py_NewRef(when));
    if (disarm(state, self) < 0) {
        return NULL;
    }
    if (!Py_IsNone(when)) {
        PyObject *loop = asyncio_running_loop(module);
        if (loop == NULL) {
            return NULL;
        }
        int res = set_timer(state, self, loop);
        Py_DECREF(loop);
        if (res < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
timeout_repr(PyObject *op)
{
    TimeoutObject *self = (TimeoutObject *)op;
    if (self->state != ENTERED) {
        return PyUnicode_FromFormat("<Timeout [%s]>",
                                    state_names[self->state]);
    }
    PyObject *when = Py_IsNone(self->when)
        ? Py_NewRef(Py_None)
        : PyObject_CallMethod(self->when, "__round__", "i", 3);
    if (when == NULL) {
        return NULL;
    }
    PyObject *repr = PyUnicode_FromFormat("<Timeout [active] when=%S>", when);
    Py_DECREF(when);
    return repr;
}

static PyObject *
timeout_aenter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return asyncio_step_new(asyncio_module_of(self), step_in, self,
                            NULL);
}

static PyObject *
timeout_aexit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (!_PyArg_CheckPositional("__aexit__", nargs, 3, 3)) {
        return NULL;
    }
    return asyncio_step_new(asyncio_module_of(self), step_out, self,
                            args[1]);
}

static PyObject *
timeout_on_timeout(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TimeoutObject *self = (TimeoutObject *)op;
    Py_CLEAR(self->timer);
    self->state = EXPIRING;
    return call_python("_ask", op, NULL);
}

/* The task's Canceller calls these two.  */

static PyObject *
timeout_arm(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TimeoutObject *self = (TimeoutObject *)op;
    self->armed = 1;
    if (self->timer == NULL && self->when != NULL && !Py_IsNone(self->when)) {
        PyObject *module = module_of(self);
        PyObject *loop = asyncio_running_loop(module);
        if (loop == NULL) {
            return NULL;
        }
        int res = set_later(asyncio_timeouts_state(module), self, loop);
        Py_DECREF(loop);
        if (res < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
timeout_abandon(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TimeoutObject *self = (TimeoutObject *)op;
    if (disarm(asyncio_timeouts_state(module_of(self)), self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
timeout_traverse(PyObject *op, visitproc visit, void *arg)
{
    TimeoutObject *self = (TimeoutObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->when);
    Py_VISIT(self->timer);
    Py_VISIT(self->task);
    Py_VISIT(self->origin);
    Py_VISIT(self->request);
    return PyObject_VisitManagedDict(op, visit, arg);
}

static int
timeout_clear(PyObject *op)
{
    TimeoutObject *self = (TimeoutObject *)op;
    Py_CLEAR(self->when);
    Py_CLEAR(self->timer);
    Py_CLEAR(self->task);
    Py_CLEAR(self->origin);
    Py_CLEAR(self->request);
    PyObject_ClearManagedDict(op);
    return 0;
}

static void
timeout_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    timeout_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef timeout_methods[] = {
    _ASYNCIO_TIMEOUT_WHEN_METHODDEF
    _ASYNCIO_TIMEOUT_EXPIRED_METHODDEF
    _ASYNCIO_TIMEOUT_RESCHEDULE_METHODDEF
    {"__aenter__", timeout_aenter, METH_NOARGS, NULL},
    {"__aexit__", _PyCFunction_CAST(timeout_aexit), METH_FASTCALL, NULL},
    {"_on_timeout", timeout_on_timeout, METH_NOARGS, NULL},
    {"_arm", timeout_arm, METH_NOARGS, NULL},
    {"_abandon", timeout_abandon, METH_NOARGS, NULL},
    {NULL, NULL}
};

#define FIELD(name, field, type) \
    {name, type, offsetof(TimeoutObject, field), 0, NULL}

static PyMemberDef timeout_members[] = {
    FIELD("_task", task, _Py_T_OBJECT),
    FIELD("_origin", origin, _Py_T_OBJECT),
    FIELD("_request", request, _Py_T_OBJECT),
    FIELD("_baseline", baseline, Py_T_PYSSIZET),
    FIELD("_is_known", is_known, Py_T_BOOL),
    {NULL}
};

static PyGetSetDef timeout_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict},
    {NULL}
};

static PyType_Slot timeout_slots[] = {
    {Py_tp_doc, (void *)_asyncio_Timeout___init____doc__},
    {Py_tp_init, _asyncio_Timeout___init__},
    {Py_tp_repr, timeout_repr},
    {Py_tp_dealloc, timeout_dealloc},
    {Py_tp_traverse, timeout_traverse},
    {Py_tp_clear, timeout_clear},
    {Py_tp_methods, timeout_methods},
    {Py_tp_members, timeout_members},
    {Py_tp_getset, timeout_getset},
    {0, NULL},
};

static PyType_Spec timeout_spec = {
    .name = "asyncio.timeouts.Timeout",
    .basicsize = sizeof(TimeoutObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE
              | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_MANAGED_WEAKREF
              | Py_TPFLAGS_MANAGED_DICT),
    .slots = timeout_slots,
};

/* --- Functions --- */

static PyObject *
new_timeout(TimeoutState *state, PyObject *when)
{
    TimeoutObject *self = (TimeoutObject *)state->timeout_type->tp_alloc(
        state->timeout_type, 0);
    if (self != NULL) {
        self->when = Py_NewRef(when);
    }
    return (PyObject *)self;
}

/*[clinic input]
_asyncio.timeout

    delay: object

Return a context manager that limits its block to *delay* seconds.

The seconds count from this call; None is no limit.  A block that takes
longer is cancelled once, and leaving it raises TimeoutError:

    async with asyncio.timeout(10):
        await long_running()

A cancellation that someone else asked for, with Task.cancel() or a cancel
scope, stays a CancelledError.
[clinic start generated code]*/

static PyObject *
_asyncio_timeout_impl(PyObject *module, PyObject *delay)
/*[clinic end generated code: output=2978bbdcf9c83854 input=78c15ce7171c66d3]*/
{
    TimeoutState *state = asyncio_timeouts_state(module);
    PyObject *loop = asyncio_running_loop(module);
    if (loop == NULL) {
        return NULL;
    }
    if (Py_IsNone(delay)) {
        Py_DECREF(loop);
        return new_timeout(state, Py_None);
    }
    PyObject *now = PyObject_CallMethodNoArgs(loop, state->time);
    Py_DECREF(loop);
    if (now == NULL) {
        return NULL;
    }
    PyObject *when = PyNumber_Add(now, delay);
    Py_DECREF(now);
    if (when == NULL) {
        return NULL;
    }
    PyObject *timeout = new_timeout(state, when);
    Py_DECREF(when);
    return timeout;
}

/*[clinic input]
_asyncio.timeout_at

    when: object

Return a context manager whose block ends at *when* on loop.time().

Like timeout(), but with an absolute time.
[clinic start generated code]*/

static PyObject *
_asyncio_timeout_at_impl(PyObject *module, PyObject *when)
/*[clinic end generated code: output=585e5bdd9374b427 input=4c704658537eeabc]*/
{
    return new_timeout(asyncio_timeouts_state(module), when);
}

static PyMethodDef timeout_functions[] = {
    _ASYNCIO_TIMEOUT_METHODDEF
    _ASYNCIO_TIMEOUT_AT_METHODDEF
    {NULL, NULL}
};

/* --- The state --- */

int
asyncio_timeouts_visit(TimeoutState *state, visitproc visit, void *arg)
{
    Py_VISIT(state->timeout_type);
    Py_VISIT(state->timeouts);
    Py_VISIT(state->call_at);
    Py_VISIT(state->call_soon);
    Py_VISIT(state->cancel);
    Py_VISIT(state->on_timeout);
    Py_VISIT(state->time);
    return 0;
}

void
asyncio_timeouts_clear(TimeoutState *state)
{
    Py_CLEAR(state->timeout_type);
    Py_CLEAR(state->timeouts);
    Py_CLEAR(state->call_at);
    Py_CLEAR(state->call_soon);
    Py_CLEAR(state->cancel);
    Py_CLEAR(state->on_timeout);
    Py_CLEAR(state->time);
}

int
asyncio_timeouts_init(PyObject *module, TimeoutState *state)
{
    struct {PyObject **name; const char *text;} names[] = {
        {&state->call_at, "call_at"},
        {&state->call_soon, "call_soon"},
        {&state->cancel, "cancel"},
        {&state->on_timeout, "_on_timeout"},
        {&state->time, "time"},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        *names[i].name = PyUnicode_InternFromString(names[i].text);
        if (*names[i].name == NULL) {
            return -1;
        }
    }
    state->timeout_type = asyncio_add_type(module, &timeout_spec);
    if (state->timeout_type == NULL
        || asyncio_mark_coroutines(module, state->timeout_type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, timeout_functions);
}
