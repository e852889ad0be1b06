//! What is made of results, from made-up ones: schema, files, tables, comparisons, conditions, plots, pages.

mod compare;
mod condition;
mod files;
mod fixture;
mod page;
mod pictures;
mod schema;
mod show;
