/* CancelScope: what Lib/asyncio/scopes.py has in Python, as far as a block
   needs it that ends without an exception.  What happens less often is in
   scopes.py, for both kinds.

   While it is open, a scope and its node have references to each other, and
   the canceller has one to both.  */

#ifndef Py_BUILD_CORE_BUILTIN
#  define Py_BUILD_CORE_MODULE 1
#endif

#include "Python.h"
#include "structmember.h"
#include "pycore_call.h"          // _PyObject_MakeTpCall()
#include "pycore_modsupport.h"    // _PyArg_CheckPositional()
#include "scopes.h"

/*[clinic input]
module _asyncio
class _asyncio.CancelScope "ScopeObject *" "clinic_state()->scope_type"
[clinic start generated code]*/
/*[clinic end generated code: output=da39a3ee5e6b4b0d input=f600bda24862edd1]*/

typedef enum {
    NEW,
    OPEN,
    CLOSED,
} scope_state;

/* As the values of scopes._State.  */
static const char *const state_names[] = {"new", "open", "closed"};

typedef struct {
    PyObject_HEAD
    NodeObject *node;       /* strong, never NULL */
    PyObject *canceller;    /* strong; NULL but while it is open */
    PyObject *timeout;      /* strong; NULL or None for None */
    Deadline queued;
    Py_ssize_t baseline;
    unsigned long thread;   /* the one that has entered it */
    scope_state state;
    char by_deadline;
    char caught;
    char fails;
    char armed;
    char marked;            /* the task's context tells of the shield */
} ScopeObject;

/* Call a function of scopes.py; arg can be NULL.  */
static PyObject *
call_module(PyObject *module, const char *name, void *self, PyObject *arg)
{
    PyObject *function = asyncio_import(
        &asyncio_scope_state(module)->scopes, "asyncio.scopes", name);
    if (function == NULL) {
        return NULL;
    }
    PyObject *res = PyObject_CallFunctionObjArgs(function, self, arg, NULL);
    Py_DECREF(function);
    return res;
}

static PyObject *
call_python(const char *name, void *self, PyObject *arg)
{
    return call_module(asyncio_module_of((PyObject *)self), name, self, arg);
}

static int
check_thread(ScopeObject *self, const char *action)
{
    if (self->state != OPEN || self->thread == PyThread_get_thread_ident()) {
        return 0;
    }
    PyObject *text = PyUnicode_FromString(action);
    if (text == NULL) {
        return -1;
    }
    PyObject *res = call_python("_check_thread", self, text);
    Py_DECREF(text);
    return call_and_forget(res);
}

/* --- The deadline --- */

/* Return a strong reference to what is a number, or None.  */
static PyObject *
number(PyObject *module, const char *name, PyObject *value)
{
    if (Py_IsNone(value)
        || (PyFloat_CheckExact(value) && !isnan(PyFloat_AS_DOUBLE(value)))
        || (PyLong_CheckExact(value)
            && PyUnstable_Long_IsCompact((PyLongObject *)value))) {
        return Py_NewRef(value);
    }
    PyObject *its_name = PyUnicode_FromString(name);
    if (its_name == NULL) {
        return NULL;
    }
    PyObject *res = call_module(module, "_number", its_name, value);
    Py_DECREF(its_name);
    return res;
}

/* The deadline has passed.  */
static int
expire(PyObject *op)
{
    ScopeObject *self = (ScopeObject *)op;
    if (self->node->cancelled) {
        return 0;
    }
    self->by_deadline = 1;
    return asyncio_node_cancel(asyncio_module_of(op), self->node, Py_None);
}

/* The deadline as a number; infinite if there is none.  */
static int
deadline_of(ScopeObject *self, double *deadline)
{
    *deadline = Py_HUGE_VAL;
    if (!is_none(self->node->deadline)) {
        PyObject *number = Py_NewRef(self->node->deadline);
        *deadline = PyFloat_AsDouble(number);
        Py_DECREF(number);
        if (*deadline == -1.0 && PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

static int
look_at_clock(ScopeObject *self, double now)
{
    double deadline;
    if (is_none(self->node->deadline)) {
        return 0;
    }
    if (deadline_of(self, &deadline) < 0) {
        return -1;
    }
    return deadline <= now ? expire((PyObject *)self) : 0;
}

/* Return a strong reference.  */
static PyObject *
loop_of(PyObject *module, PyObject *canceller)
{
    if (asyncio_is_c_canceller(module, canceller)
        && ((CancellerObject *)canceller)->loop != NULL) {
        return Py_NewRef(((CancellerObject *)canceller)->loop);
    }
    return PyObject_GetAttr(canceller, asyncio_scope_state(module)->loop);
}

/* The task has suspended in the block: have the deadline in the queue.  */
static int
move_deadline(PyObject *module, ScopeObject *self)
{
    ScopeState *state = asyncio_scope_state(module);
    double deadline;
    if (deadline_of(self, &deadline) < 0) {
        return -1;
    }
    if (self->state != OPEN) {
        return 0;
    }
    if (deadline == Py_HUGE_VAL) {
        return asyncio_deadline_disarm(&self->queued);
    }
    PyObject *loop = loop_of(module, self->canceller);
    if (loop == NULL) {
        return -1;
    }
    double now;
    int res = asyncio_loop_time(state, loop, &now);
    /* The clock may have run code that has closed it.  */
    int is_open = res == 0 && self->state == OPEN;
    if (is_open && deadline <= now) {
        res = asyncio_deadline_disarm(&self->queued);
        if (res == 0) {
            res = expire((PyObject *)self);
        }
    }
    else if (is_open && !self->node->cancelled) {
        res = asyncio_deadline_arm(module, loop, &self->queued, deadline);
    }
    Py_DECREF(loop);
    return res;
}

/* --- Entering --- */

/* Return the canceller of the current task, borrowed and with the baseline,
   if it is in C and has one already; else NULL, perhaps with an exception.  */
static CancellerObject *
find_canceller(PyObject *module, ScopeObject *self)
{
    if (self->state != NEW) {
        return NULL;
    }
    PyObject *task;
    if (asyncio_find_current_task(module, &task) < 0 || task == NULL) {
        return NULL;
    }
    CancellerObject *canceller = asyncio_task_canceller(module, task,
                                                        &self->baseline);
    /* The loop has another one.  */
    Py_DECREF(task);
    return canceller;
}

/* The scope is among the guards of its canceller, and its node in the tree. */
static int
join(PyObject *module, ScopeObject *self, int is_known)
{
    if (is_known) {
        CancellerObject *canceller = (CancellerObject *)self->canceller;
        if (asyncio_canceller_enter(canceller, (PyObject *)self) < 0) {
            return -1;
        }
        return asyncio_canceller_push(asyncio_canceller_state_of(module),
                                      canceller, self->node);
    }
    ScopeState *state = asyncio_scope_state(module);
    if (call_and_forget(PyObject_CallMethodOneArg(
            self->canceller, state->enter, (PyObject *)self)) < 0) {
        return -1;
    }
    return call_and_forget(PyObject_CallMethodOneArg(
        self->canceller, state->push, (PyObject *)self->node));
}

static int
start_timeout(PyObject *module, ScopeObject *self, PyObject *canceller)
{
    PyObject *loop = loop_of(module, canceller);
    if (loop == NULL) {
        return -1;
    }
    PyObject *now = PyObject_CallMethodNoArgs(
        loop, asyncio_scope_state(module)->time);
    Py_DECREF(loop);
    if (now == NULL) {
        return -1;
    }
    PyObject *timeout = Py_NewRef(self->timeout);
    PyObject *deadline = PyNumber_Add(now, timeout);
    Py_DECREF(timeout);
    Py_DECREF(now);
    if (deadline == NULL) {
        return -1;
    }
    Py_XSETREF(self->node->deadline, deadline);
    return 0;
}

/* The clock may have run code that has entered it.  */
static int
check_new(ScopeObject *self)
{
    return (self->state == NEW
            ? 0 : call_and_forget(call_python("_check_new", self, NULL)));
}

static int
enter(ScopeObject *self)
{
    PyObject *module = asyncio_module_of((PyObject *)self);
    PyObject *canceller = (PyObject *)find_canceller(module, self);
    if (canceller == NULL && PyErr_Occurred()) {
        return -1;
    }
    int is_known = canceller != NULL;
    if (is_known) {
        Py_INCREF(canceller);
    }
    else {
        canceller = call_python("_canceller_for", self, NULL);
        if (canceller == NULL) {
            return -1;
        }
    }
    if (!is_none(self->timeout)
        && (start_timeout(module, self, canceller) < 0
            || check_new(self) < 0)) {
        Py_DECREF(canceller);
        return -1;
    }
    self->state = OPEN;
    Py_XSETREF(self->canceller, canceller);
    self->thread = PyThread_get_thread_ident();
    Py_XSETREF(self->node->owner, Py_NewRef(self));
    if (join(module, self, is_known) < 0) {
        return -1;
    }
    if (self->node->holds) {
        return call_and_forget(call_python("_put_up_shield", self, NULL));
    }
    return 0;
}

/* --- Leaving --- */

/* Have the canceller forget the scope.  */
static void
part(PyObject *module, ScopeObject *self, PyObject *canceller,
     KeptError *error)
{
    if (asyncio_is_c_canceller(module, canceller)) {
        CancellerState *state = asyncio_canceller_state_of(module);
        CancellerObject *known = (CancellerObject *)canceller;
        keep_error(error, asyncio_canceller_leave(state, known,
                                                  (PyObject *)self));
        keep_error(error, asyncio_canceller_pop(state, known, self->node));
        return;
    }
    ScopeState *state = asyncio_scope_state(module);
    keep_error(error, call_and_forget(PyObject_CallMethodOneArg(
        canceller, state->leave, (PyObject *)self)));
    keep_error(error, call_and_forget(PyObject_CallMethodOneArg(
        canceller, state->pop, (PyObject *)self->node)));
}

/* The scope is open.  An error of one thing leaves no other undone.  */
static int
close_scope(ScopeObject *self)
{
    PyObject *module = asyncio_module_of((PyObject *)self);
    PyObject *canceller = self->canceller;
    self->canceller = NULL;
    self->state = CLOSED;
    Py_INCREF(self);
    Py_CLEAR(self->node->owner);
    KeptError error = {0};
    keep_error(&error, asyncio_deadline_disarm(&self->queued));
    part(module, self, canceller, &error);
    if (self->node->holds || self->marked) {
        keep_error(&error, call_and_forget(call_module(
            module, "_take_off_shield", (PyObject *)self, canceller)));
    }
    Py_DECREF(canceller);
    Py_DECREF(self);
    return raise_kept(&error);
}

/* Return 1 if the scope is the innermost one that the current task is in, 0
   if it is not or that is for scopes.py to say, or -1.  */
static int
is_innermost(PyObject *module, ScopeObject *self)
{
    PyObject *task;
    if (asyncio_find_current_task(module, &task) < 0) {
        return -1;
    }
    Py_XDECREF(task);
    if (self->state != OPEN
        || !asyncio_is_c_canceller(module, self->canceller)) {
        return 0;
    }
    CancellerObject *canceller = (CancellerObject *)self->canceller;
    return (task != NULL && canceller->task == task
            && canceller->node == (PyObject *)self->node);
}

static PyObject *
leave(ScopeObject *self, PyObject *exc_type, PyObject *exc)
{
    int is_right = is_innermost(asyncio_module_of((PyObject *)self), self);
    if (is_right < 0) {
        return NULL;
    }
    if (!is_right) {
        PyObject *wrong = call_python("_find_misuse", self, NULL);
        if (wrong == NULL) {
            return NULL;
        }
        is_right = Py_IsNone(wrong);
        Py_DECREF(wrong);
    }
    if (!is_right) {
        return call_python("_exit_wrongly", self, exc_type);
    }
    if (!is_none(exc)) {
        return call_python("_exit_in", self, exc);
    }
    return close_scope(self) < 0 ? NULL : Py_NewRef(Py_False);
}

/* --- By async with --- */

static inline int
is_subclass(PyObject *self)
{
    PyObject *module = asyncio_module_of(self);
    return !Py_IS_TYPE(self, asyncio_scope_state(module)->scope_type);
}

static PyObject *
step_in(PyObject *op, PyObject *Py_UNUSED(exc))
{
    if (is_subclass(op)) {
        return PyObject_CallMethodNoArgs(
            op, asyncio_scope_state(asyncio_module_of(op))->enter_block);
    }
    return enter((ScopeObject *)op) < 0 ? NULL : Py_NewRef(op);
}

static PyObject *
leave_by_method(PyObject *op, PyObject *exc)
{
    PyObject *name = asyncio_scope_state(asyncio_module_of(op))->exit_block;
    if (exc == NULL) {
        return PyObject_CallMethodObjArgs(op, name, Py_None, Py_None, Py_None,
                                          NULL);
    }
    PyObject *tb = PyExceptionInstance_Check(exc)
        ? PyException_GetTraceback(exc) : NULL;
    PyObject *res = PyObject_CallMethodObjArgs(
        op, name, (PyObject *)Py_TYPE(exc), exc, tb == NULL ? Py_None : tb,
        NULL);
    Py_XDECREF(tb);
    return res;
}

static PyObject *
step_out_of_shield(ScopeObject *self, PyObject *exc)
{
    PyObject *canceller = Py_XNewRef(self->canceller);
    PyObject *absorbed = leave_by_method((PyObject *)self, exc);
    int delivers = -1;
    if (absorbed != NULL) {
        delivers = exc == NULL ? 1 : PyObject_IsTrue(absorbed);
    }
    if (delivers > 0) {
        delivers = call_and_forget(call_module(
            asyncio_module_of((PyObject *)self), "_raise_pending", canceller,
            NULL));
    }
    Py_XDECREF(canceller);
    if (delivers < 0) {
        Py_CLEAR(absorbed);
    }
    return absorbed;
}

static PyObject *
step_out(PyObject *op, PyObject *exc)
{
    ScopeObject *self = (ScopeObject *)op;
    if (self->node->holds) {
        return step_out_of_shield(self, exc);
    }
    if (is_subclass(op)) {
        return leave_by_method(op, exc);
    }
    PyObject *exc_type = exc == NULL ? Py_None : (PyObject *)Py_TYPE(exc);
    return leave(self, exc_type, exc);
}

/* --- CancelScope --- */

#include "clinic/scopes.c.h"

/*[clinic input]
_asyncio.CancelScope.__init__

    *
    timeout: object = None
    deadline: object = None
    shield: bool = False

A block of code in one task that can be cancelled as a whole.

Once it is cancelled, by cancel() or because its deadline has passed,
every wait in the block is cancelled, until the block is left; the
CancelledError ends there.  *timeout* is in seconds from the entry,
*deadline* on the clock of loop.time(); None is no deadline.  With
*shield*, the block is protected from cancellation that comes from
outside of it.

ValueError is raised if both are given or one is NaN, TypeError if one is
no number.  A scope serves one ``with`` or ``async with`` statement.
[clinic start generated code]*/

static int
_asyncio_CancelScope___init___impl(ScopeObject *self, PyObject *timeout,
                                   PyObject *deadline, int shield)
/*[clinic end generated code: output=944c351083e899ee input=b902614f7cfc5e59]*/
{
    if (self->state != NEW) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a scope that was entered cannot be made again");
        return -1;
    }
    if (!Py_IsNone(timeout) && !Py_IsNone(deadline)) {
        PyErr_SetString(PyExc_ValueError,
                        "give timeout or deadline, not both");
        return -1;
    }
    PyObject *module = asyncio_module_of((PyObject *)self);
    timeout = number(module, "timeout", timeout);
    if (timeout == NULL) {
        return -1;
    }
    deadline = number(module, "deadline", deadline);
    if (deadline == NULL) {
        Py_DECREF(timeout);
        return -1;
    }
    Py_XSETREF(self->timeout, timeout);
    Py_XSETREF(self->node->deadline, deadline);
    self->node->hides = self->node->holds = (char)shield;
    return 0;
}

/*[clinic input]
_asyncio.CancelScope.cancel

    msg: object = None

Cancel the block, whose waits raise CancelledError from now on.

*msg* is the text of the CancelledErrors.  A second call does nothing.
RuntimeError is raised in another thread than the block's:
loop.call_soon_threadsafe() is the way from there.
[clinic start generated code]*/

static PyObject *
_asyncio_CancelScope_cancel_impl(ScopeObject *self, PyObject *msg)
/*[clinic end generated code: output=759023748493411f input=4a96dce896ef467d]*/
{
    if (check_thread(self, "cancel") < 0) {
        return NULL;
    }
    PyObject *module = asyncio_module_of((PyObject *)self);
    if (asyncio_node_cancel(module, self->node, msg) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
scope_repr(PyObject *op)
{
    return call_python("_describe", op, NULL);
}

static PyObject *
scope_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return call_python("_refuse_copy", op, NULL);
}

static PyObject *
scope_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return enter((ScopeObject *)op) < 0 ? NULL : Py_NewRef(op);
}

static PyObject *
scope_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (!_PyArg_CheckPositional("__exit__", nargs, 3, 3)) {
        return NULL;
    }
    return leave((ScopeObject *)op, args[0], args[1]);
}

static PyObject *
scope_aenter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return asyncio_step_new(asyncio_module_of(op), step_in, op, NULL);
}

static PyObject *
scope_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (!_PyArg_CheckPositional("__aexit__", nargs, 3, 3)) {
        return NULL;
    }
    return asyncio_step_new(asyncio_module_of(op), step_out, op, args[1]);
}

static PyObject *
scope_get_deadline(PyObject *op, void *Py_UNUSED(ignored))
{
    PyObject *deadline = ((ScopeObject *)op)->node->deadline;
    return Py_NewRef(deadline == NULL ? Py_None : deadline);
}

static int
refuse_deletion(PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    return 0;
}

static int
scope_set_deadline(PyObject *op, PyObject *value, void *Py_UNUSED(ignored))
{
    ScopeObject *self = (ScopeObject *)op;
    if (refuse_deletion(value) < 0) {
        return -1;
    }
    PyObject *deadline = number(asyncio_module_of(op), "deadline", value);
    if (deadline == NULL) {
        return -1;
    }
    if (check_thread(self, "set the deadline of") < 0) {
        Py_DECREF(deadline);
        return -1;
    }
    Py_XSETREF(self->node->deadline, deadline);
    Py_CLEAR(self->timeout);
    if (self->state != OPEN || !self->armed) {
        return 0;
    }
    return move_deadline(asyncio_module_of(op), self);
}

static PyObject *
scope_get_shield(PyObject *op, void *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((ScopeObject *)op)->node->holds);
}

static int
scope_set_shield(PyObject *op, PyObject *value, void *Py_UNUSED(ignored))
{
    if (refuse_deletion(value) < 0) {
        return -1;
    }
    int shield = PyObject_IsTrue(value);
    if (shield < 0) {
        return -1;
    }
    return call_and_forget(call_python("_set_shield", op,
                                       shield ? Py_True : Py_False));
}

static PyObject *
scope_get_cancel_called(PyObject *op, void *Py_UNUSED(ignored))
{
    ScopeObject *self = (ScopeObject *)op;
    if (!self->node->cancelled && self->state != CLOSED
        && !is_none(self->node->deadline)
        && call_and_forget(call_python("_look_at_clock", self, NULL)) < 0) {
        return NULL;
    }
    return PyBool_FromLong(self->node->cancelled);
}

static PyObject *
scope_get_cancelled_caught(PyObject *op, void *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((ScopeObject *)op)->caught);
}

static PyObject *
scope_get_cancel_msg(PyObject *op, void *Py_UNUSED(ignored))
{
    PyObject *msg = ((ScopeObject *)op)->node->msg;
    return Py_NewRef(msg == NULL ? Py_None : msg);
}

static PyObject *
scope_get_state(PyObject *op, void *Py_UNUSED(ignored))
{
    PyObject *name = PyUnicode_FromString(
        state_names[((ScopeObject *)op)->state]);
    if (name == NULL) {
        return NULL;
    }
    PyObject *state = call_module(asyncio_module_of(op), "_State", name, NULL);
    Py_DECREF(name);
    return state;
}

/* scopes.py calls these, and the task's Canceller.  */

static PyObject *
scope_expire(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return expire(op) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
scope_look_at_clock(PyObject *op, PyObject *arg)
{
    double now = PyFloat_AsDouble(arg);
    if (now == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    return (look_at_clock((ScopeObject *)op, now) < 0
            ? NULL : Py_NewRef(Py_None));
}

static PyObject *
scope_arm(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ScopeObject *self = (ScopeObject *)op;
    self->armed = 1;
    if (self->state == OPEN && !is_none(self->node->deadline)
        && move_deadline(asyncio_module_of(op), self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
scope_abandon(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ScopeObject *self = (ScopeObject *)op;
    if (self->state == OPEN && close_scope(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- The type --- */

static PyObject *
scope_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
    ScopeObject *self = (ScopeObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    PyObject *module = asyncio_module_of((PyObject *)self);
    self->queued.owner = (PyObject *)self;
    self->queued.expire = expire;
    self->node = asyncio_node_new(asyncio_scope_state(module)->node_type);
    if (self->node == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* Of what is called with keywords alone, where they are, in args; return 0 if
   it is called otherwise.  */
static int
find_keywords(ScopeState *state, PyObject *const *args, PyObject *kwnames,
              PyObject **timeout, PyObject **deadline, PyObject **shield)
{
    Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        PyObject **place = name == state->timeout ? timeout
                         : name == state->deadline ? deadline
                         : name == state->shield ? shield : NULL;
        if (place == NULL) {
            return 0;
        }
        *place = args[i];
    }
    return 1;
}

static PyObject *
make_scope(PyTypeObject *type, PyObject *timeout, PyObject *deadline,
           int shield)
{
    PyObject *self = scope_new(type, NULL, NULL);
    if (self != NULL && _asyncio_CancelScope___init___impl(
            (ScopeObject *)self, timeout, deadline, shield) < 0) {
        Py_CLEAR(self);
    }
    return self;
}

/* CancelScope(…): without a dict for the keywords.  */
static PyObject *
scope_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                 PyObject *kwnames)
{
    PyTypeObject *type = (PyTypeObject *)op;
    ScopeState *state = asyncio_scope_state(PyType_GetModule(type));
    PyObject *timeout = Py_None, *deadline = Py_None, *shield = Py_False;
    if (PyVectorcall_NARGS(nargsf) != 0
        || !find_keywords(state, args, kwnames, &timeout, &deadline, &shield))
    {
        /* Perhaps an error, which is the generated code's.  */
        return _PyObject_MakeTpCall(PyThreadState_Get(), op, args,
                                    PyVectorcall_NARGS(nargsf), kwnames);
    }
    int shields = PyObject_IsTrue(shield);
    if (shields < 0) {
        return NULL;
    }
    return make_scope(type, timeout, deadline, shields);
}

static int
scope_traverse(PyObject *op, visitproc visit, void *arg)
{
    ScopeObject *self = (ScopeObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->node);
    Py_VISIT(self->canceller);
    Py_VISIT(self->timeout);
    return 0;
}

/* The node stays as long as the scope does: it breaks its own cycles.  */
static int
scope_clear(PyObject *op)
{
    ScopeObject *self = (ScopeObject *)op;
    Py_CLEAR(self->canceller);
    Py_CLEAR(self->timeout);
    return 0;
}

static void
scope_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    ScopeObject *self = (ScopeObject *)op;
    assert(self->queued.queue == NULL);
    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    scope_clear(op);
    Py_CLEAR(self->node);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef scope_methods[] = {
    _ASYNCIO_CANCELSCOPE_CANCEL_METHODDEF
    {"__reduce__", scope_reduce, METH_NOARGS, NULL},
    {"__enter__", scope_enter, METH_NOARGS, NULL},
    {"__exit__", _PyCFunction_CAST(scope_exit), METH_FASTCALL, NULL},
    {"__aenter__", scope_aenter, METH_NOARGS, NULL},
    {"__aexit__", _PyCFunction_CAST(scope_aexit), METH_FASTCALL, NULL},
    {"_expire", scope_expire, METH_NOARGS,
     PyDoc_STR("The deadline has passed; called by the loop's timer.")},
    {"_look_at_clock", scope_look_at_clock, METH_O, NULL},
    {"_arm", scope_arm, METH_NOARGS, NULL},
    {"_abandon", scope_abandon, METH_NOARGS,
     PyDoc_STR("Close it without leaving its block.")},
    {"_close", scope_abandon, METH_NOARGS, NULL},
    {NULL, NULL}
};

static PyGetSetDef scope_getset[] = {
    {"deadline", scope_get_deadline, scope_set_deadline,
     PyDoc_STR("The time on loop.time() at which it is cancelled, or None.\n\n"
               "It can be set at any time; of a timeout it is None before "
               "the entry.")},
    {"shield", scope_get_shield, scope_set_shield,
     PyDoc_STR("The block is protected from what comes from outside; "
               "settable.")},
    {"cancel_called", scope_get_cancel_called, NULL,
     PyDoc_STR("cancel() was called, or the deadline has passed.")},
    {"cancelled_caught", scope_get_cancelled_caught, NULL,
     PyDoc_STR("A CancelledError has ended at this scope.")},
    {"cancel_msg", scope_get_cancel_msg, NULL,
     PyDoc_STR("The text given to cancel(), or None.")},
    {"_state", scope_get_state, NULL, NULL},
    {NULL}
};

#define FIELD(name, field, type, flags) \
    {name, type, offsetof(ScopeObject, field), flags, NULL}

static PyMemberDef scope_members[] = {
    FIELD("_node", node, _Py_T_OBJECT, Py_READONLY),
    FIELD("_canceller", canceller, _Py_T_OBJECT, Py_READONLY),
    FIELD("_timeout", timeout, _Py_T_OBJECT, Py_READONLY),
    FIELD("_thread", thread, Py_T_ULONG, Py_READONLY),
    FIELD("_baseline", baseline, Py_T_PYSSIZET, 0),
    FIELD("_by_deadline", by_deadline, Py_T_BOOL, 0),
    FIELD("_caught", caught, Py_T_BOOL, 0),
    FIELD("_fails", fails, Py_T_BOOL, 0),
    FIELD("_armed", armed, Py_T_BOOL, Py_READONLY),
    FIELD("_marked", marked, Py_T_BOOL, 0),
    {NULL}
};

static PyType_Slot scope_slots[] = {
    {Py_tp_doc, (void *)_asyncio_CancelScope___init____doc__},
    {Py_tp_new, scope_new},
    {Py_tp_init, _asyncio_CancelScope___init__},
    {Py_tp_repr, scope_repr},
    {Py_tp_dealloc, scope_dealloc},
    {Py_tp_traverse, scope_traverse},
    {Py_tp_clear, scope_clear},
    {Py_tp_methods, scope_methods},
    {Py_tp_members, scope_members},
    {Py_tp_getset, scope_getset},
    {0, NULL},
};

static PyType_Spec scope_spec = {
    .name = "asyncio.scopes.CancelScope",
    .basicsize = sizeof(ScopeObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE
              | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_MANAGED_WEAKREF),
    .slots = scope_slots,
};

/* --- Functions --- */

static PyObject *
new_scope(PyObject *module, PyObject *timeout, PyObject *deadline, int shield,
          char fails)
{
    PyObject *scope = make_scope(asyncio_scope_state(module)->scope_type,
                                 timeout, deadline, shield);
    if (scope != NULL) {
        ((ScopeObject *)scope)->fails = fails;
    }
    return scope;
}

/*[clinic input]
_asyncio.move_on_after

    delay: object
    *
    shield: bool = False

Return a CancelScope that ends *delay* seconds after its entry.
[clinic start generated code]*/

static PyObject *
_asyncio_move_on_after_impl(PyObject *module, PyObject *delay, int shield)
/*[clinic end generated code: output=568f01c31afbebc8 input=a7336d55215eea7f]*/

{
    return new_scope(module, delay, Py_None, shield, 0);
}

/*[clinic input]
_asyncio.move_on_at

    when: object
    *
    shield: bool = False

Return a CancelScope that ends at *when* on loop.time().
[clinic start generated code]*/

static PyObject *
_asyncio_move_on_at_impl(PyObject *module, PyObject *when, int shield)
/*[clinic end generated code: output=f5d94885a7cc9847 input=2f8a975ae78f591c]*/

{
    return new_scope(module, Py_None, when, shield, 0);
}

/*[clinic input]
_asyncio.fail_after

    delay: object
    *
    shield: bool = False

Return a CancelScope that raises TimeoutError after *delay* seconds.

TimeoutError is raised on leaving the block, if the deadline has ended it
and no other exception is left to raise.
[clinic start generated code]*/

static PyObject *
_asyncio_fail_after_impl(PyObject *module, PyObject *delay, int shield)
/*[clinic end generated code: output=44d0d4602125f0db input=be69f78aa64ff03a]*/

{
    return new_scope(module, delay, Py_None, shield, 1);
}

/*[clinic input]
_asyncio.fail_at

    when: object
    *
    shield: bool = False

Return a CancelScope that raises TimeoutError at *when*.

Like fail_after(), at an absolute time on loop.time().
[clinic start generated code]*/

static PyObject *
_asyncio_fail_at_impl(PyObject *module, PyObject *when, int shield)
/*[clinic end generated code: output=d099a29f0de926bd input=8e109fc33d0ca0e1]*/

{
    return new_scope(module, Py_None, when, shield, 1);
}

/* --- For all of them --- */

PyObject *
asyncio_import(PyObject **module, const char *its_name, const char *name)
{
    if (*module == NULL) {
        PyObject *imported = PyImport_ImportModule(its_name);
        if (imported == NULL) {
            return NULL;
        }
        Py_XSETREF(*module, imported);
    }
    return PyObject_GetAttrString(*module, name);
}

int
asyncio_loop_time(ScopeState *state, PyObject *loop, double *time)
{
    PyObject *now = PyObject_CallMethodNoArgs(loop, state->time);
    if (now == NULL) {
        return -1;
    }
    *time = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return *time == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* --- The state --- */

#define EACH_NAME(DO) \
    DO(call_at, "call_at") \
    DO(cancel, "cancel") \
    DO(deadline, "deadline") \
    DO(deliver, "deliver") \
    DO(enter, "enter") \
    DO(enter_block, "__enter__") \
    DO(expire, "_expire") \
    DO(exit_block, "__exit__") \
    DO(leave, "leave") \
    DO(loop, "loop") \
    DO(node, "node") \
    DO(pop, "pop") \
    DO(push, "push") \
    DO(scope_deadlines, "_scope_deadlines") \
    DO(shield, "shield") \
    DO(time, "time") \
    DO(timeout, "timeout")

int
asyncio_scopes_visit(ScopeState *state, visitproc visit, void *arg)
{
    if (state->spare_step != NULL) {
        Py_VISIT(Py_TYPE(state->spare_step));
    }
    Py_VISIT(state->node_type);
    Py_VISIT(state->deadlines_type);
    Py_VISIT(state->scope_type);
    Py_VISIT(state->step_type);
    Py_VISIT(state->cancellation);
    Py_VISIT(state->scopes);
#define VISIT_NAME(name, text) Py_VISIT(state->name);
    EACH_NAME(VISIT_NAME)
    return 0;
}

void
asyncio_scopes_clear(ScopeState *state)
{
    asyncio_steps_clear(state);
    Py_CLEAR(state->node_type);
    Py_CLEAR(state->deadlines_type);
    Py_CLEAR(state->scope_type);
    Py_CLEAR(state->step_type);
    Py_CLEAR(state->cancellation);
    Py_CLEAR(state->scopes);
#define CLEAR_NAME(name, text) Py_CLEAR(state->name);
    EACH_NAME(CLEAR_NAME)
}

PyTypeObject *
asyncio_add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

static PyMethodDef scope_functions[] = {
    _ASYNCIO_MOVE_ON_AFTER_METHODDEF
    _ASYNCIO_MOVE_ON_AT_METHODDEF
    _ASYNCIO_FAIL_AFTER_METHODDEF
    _ASYNCIO_FAIL_AT_METHODDEF
    {"deadlines_of", asyncio_deadlines_of, METH_O,
     PyDoc_STR("Return the Deadlines of *loop*, which may be new ones.")},
    {NULL, NULL}
};

int
asyncio_scopes_init(PyObject *module, ScopeState *state)
{
#define INTERN_NAME(name, text) \
    state->name = PyUnicode_InternFromString(text); \
    if (state->name == NULL) { \
        return -1; \
    }
    EACH_NAME(INTERN_NAME)
    state->node_type = asyncio_add_type(module, &asyncio_node_spec);
    state->deadlines_type = asyncio_add_type(module, &asyncio_deadlines_spec);
    state->scope_type = asyncio_add_type(module, &scope_spec);
    state->step_type = asyncio_add_type(module, &asyncio_step_spec);
    if (state->node_type == NULL || state->deadlines_type == NULL
        || state->scope_type == NULL || state->step_type == NULL) {
        return -1;
    }
    state->scope_type->tp_vectorcall = scope_vectorcall;
    if (asyncio_mark_coroutines(module, state->scope_type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, scope_functions);
}
