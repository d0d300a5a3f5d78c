//! What the client is told when a message cannot be taken as it is, or not be kept.

use mailweir_smtp::reply::Reply;

use super::{MessageFault, StoreError};

impl MessageFault {
    /// 552 or 554 for what the sender can mend, 4xx for what it cannot.
    pub fn reply(&self) -> Reply {
        match self {
            Self::HeaderTooLarge(_) | Self::TooManyFields(_) => {
                Reply::new(552, "5.3.4", &format!("Message refused: {self}"))
            }
            Self::TooManyParameters(_) | Self::TooManyParts(_) | Self::TooDeep(_) | Self::TooAmbiguous(_) => {
                Reply::new(554, "5.6.0", &format!("Message refused: {self}"))
            }
            Self::Decoding(_) | Self::TooManyHosts(_) => Reply::new(554, "5.7.1", &format!("Message refused: {self}")),
            Self::Store(error) => error.reply(),
        }
    }
}

impl StoreError {
    /// 452 when there is no room, 451 when the disk failed.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Full => Reply::new(452, "4.3.1", "No room for the message now, try again later"),
            Self::Io(_) => Reply::new(451, "4.3.0", "The message cannot be kept now, try again later"),
        }
    }
}
