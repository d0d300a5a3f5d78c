//! The side of the sandbox: between the generated exports and a [`Filter`].

use core::any::Any;
use core::cell::RefCell;
use core::marker::PhantomData;

use crate::bindings::exports::mailweir::filter::handler::{Guest, GuestTransaction};
use crate::bindings::mailweir::filter::message;
use crate::bindings::mailweir::filter::types::{Decision, Edit, Plan, Session};
use crate::{Filter, Mail, configuration, observe};

std::thread_local! {
    /// The configured filter, from `configure` until its transaction begins. A static cannot be generic, hence `Any`.
    static CONFIGURED: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// What a component exports for the filter `F`.
#[derive(Debug)]
pub struct Component<F>(PhantomData<F>);

impl<F: Filter> Guest for Component<F> {
    type Transaction = Transaction<F>;

    fn configure(config_json: String) -> Result<Plan, String> {
        // Without a standard error stream this is the only way by which a panic's message gets out.
        std::panic::set_hook(Box::new(|panic| observe::error(&panic.to_string())));
        let (filter, plan) = configuration::configure::<F>(&config_json)?;
        CONFIGURED.set(Some(Box::new(filter)));
        Ok(plan)
    }
}

/// A filter at work on its transaction.
#[derive(Debug)]
pub struct Transaction<F> {
    state: RefCell<State<F>>,
}

#[derive(Debug)]
struct State<F> {
    filter: F,
    session: Session,
}

impl<F: Filter> GuestTransaction for Transaction<F> {
    fn new(session: Session) -> Self {
        let configured = CONFIGURED.take().and_then(|filter| filter.downcast::<F>().ok());
        let filter = *configured.expect("a sandbox is configured once and serves one transaction");
        Self { state: RefCell::new(State { filter, session }) }
    }

    fn on_connect(&self) -> Decision {
        let State { filter, session } = &mut *self.state.borrow_mut();
        filter.on_connect(session)
    }

    fn on_helo(&self, name: Vec<u8>) -> Decision {
        let State { filter, session } = &mut *self.state.borrow_mut();
        session.helo.clone_from(&name);
        filter.on_helo(session, &name)
    }

    fn on_mail(&self, sender: Vec<u8>) -> Decision {
        let State { filter, session } = &mut *self.state.borrow_mut();
        filter.on_mail(session, &sender)
    }

    fn on_rcpt(&self, recipient: Vec<u8>) -> Decision {
        let State { filter, session } = &mut *self.state.borrow_mut();
        filter.on_rcpt(session, &recipient)
    }

    fn on_headers(&self, mail: &message::Mail) -> Decision {
        self.state.borrow_mut().filter.on_headers(&Mail::borrowed(mail))
    }

    fn on_body(&self, chunk: Vec<u8>) -> Option<Decision> {
        self.state.borrow_mut().filter.on_body(&chunk)
    }

    fn on_end(&self, mail: &message::Mail) -> (Decision, Vec<Edit>) {
        let (decision, edits) = self.state.borrow_mut().filter.on_end(&Mail::borrowed(mail));
        (decision, edits.into())
    }

    fn on_abort(&self) {
        self.state.borrow_mut().filter.on_abort();
    }
}
