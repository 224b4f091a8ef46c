//! Errors of templates.

/// The reason why a project can't be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A template that does not exist.
    #[error("unknown template {name:?}")]
    UnknownTemplate {
        /// The name.
        name: String,
        /// The closest known name.
        nearest: Option<String>,
    },
    /// A name that a package can't have.
    #[error("{name:?} is no name for a project: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// The reason.
        reason: String,
    },
    /// A template that the chip can't run.
    #[error("template {template} is not for the {chip}: {reason}")]
    NotForChip {
        /// Name of the template.
        template: &'static str,
        /// Name of the chip.
        chip: String,
        /// The reason.
        reason: &'static str,
    },
}

impl TemplateError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            TemplateError::UnknownTemplate { nearest: Some(name), .. } => {
                Some(format!("did you mean {name:?}?"))
            }
            TemplateError::UnknownTemplate { .. } => {
                let names = crate::Template::ALL.map(crate::Template::name).join(", ");
                Some(format!("the templates are {names}"))
            }
            TemplateError::BadName { .. } => Some(
                "use letters, digits, - and _, and begin with a letter, such as blink-1".into(),
            ),
            TemplateError::NotForChip { .. } => {
                Some("`esplice chips` lists what is available for each chip".into())
            }
        }
    }
}
