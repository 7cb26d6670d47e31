//! Mistakes that peers implementations have made, for the simulation to plant and to find again.
//!
//! A simulation that finds nothing proves only as much as it would find. Each of these can be put into a group by its
//! settings; builds without debug assertions, the released ones, have no code for them.

/// A mistake in the code of the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An entry touched while its update is on its way is not sent again.
    TouchedDuringSend,
    /// A learnt entry that is touched here is not announced. It would be a mistake of the table; who drives the group
    /// acts it out.
    LearntNeverAnnounced,
    /// The end of a lesson is not confirmed.
    FinishedUnanswered,
    /// An ack names the id before the last update received.
    AckBefore,
    /// An ack is taken for the id after it.
    AckBeyond,
    /// What a peer sent is announced as if it had been changed here.
    Echo,
    /// After a reconnection updates go on behind what was sent, not behind what was acknowledged.
    ResumeBehindSent,
    /// A lesson overwrites changes made here that the teacher does not know.
    LessonOverwrites,
    /// A slot of the dictionary keeps its first string.
    StaleDictionary,
    /// The position in the update log moves although there was no room for the update.
    SkipWithoutRoom,
    /// A lesson ends with its first table.
    LessonOfOneTable,
    /// Now and then an update is not sent at all.
    LoseUpdate,
    /// What is left to a successor is how far a peer was sent the changes, not how far it acknowledged them.
    SuccessorBehindSent,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 13] = [
        Fault::TouchedDuringSend,
        Fault::LearntNeverAnnounced,
        Fault::FinishedUnanswered,
        Fault::AckBefore,
        Fault::AckBeyond,
        Fault::Echo,
        Fault::ResumeBehindSent,
        Fault::LessonOverwrites,
        Fault::StaleDictionary,
        Fault::SkipWithoutRoom,
        Fault::LessonOfOneTable,
        Fault::LoseUpdate,
        Fault::SuccessorBehindSent,
    ];
}
