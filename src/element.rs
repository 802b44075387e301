//! stub
use crate::wire::v1;
pub use crate::roster::TokenClass;
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind { Phone }
impl Kind { pub fn parse(_: &str)->Option<Kind>{None} pub fn as_str(self)->&'static str{""} pub fn to_wire(self)->v1::ElementKind{v1::ElementKind::Phone} pub fn from_wire(_:i32)->Option<Kind>{None} pub fn class(self)->TokenClass{TokenClass::Open} }
#[derive(Clone, Copy, Debug)]
pub enum Role { Suspect }
impl Role { pub const ALL: &[Role]=&[]; pub fn parse(_: &str)->Option<Role>{None} pub fn as_str(self)->&'static str{""} pub fn to_wire(self)->v1::ElementRole{v1::ElementRole::Suspect} pub fn from_wire(_:i32)->Option<Role>{None} }
pub const CANONICAL_RULES: u32 = 1;
#[derive(Clone, Debug)]
pub struct Rules;
#[derive(Clone, Debug)]
pub struct Canonical { pub value: String, pub linkable: bool }
#[derive(Clone, Debug)]
pub struct Refusal;
impl std::fmt::Display for Refusal { fn fmt(&self, f:&mut std::fmt::Formatter<'_>)->std::fmt::Result{Ok(())} }
pub fn canonicalize(_: Kind, _: &str, _: Option<&str>, _: &Rules) -> Result<Canonical, Refusal> { Err(Refusal) }
pub fn token_input(_: Kind, _: &str) -> Vec<u8> { vec![] }
